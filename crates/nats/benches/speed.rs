//! What the queue costs beside the client alone: the same work through `RemoteQueue` and through async-nats, in one run.
//!
//! ```text
//! cargo bench -p multiproc-nats --bench speed -- nats://127.0.0.1:4222
//! ```
//!
//! A second argument says how many servers of a cluster keep each value: 1 or 3.
//!
//! It makes the streams `speed` and `speed-raw`, and deletes them in the end. The rounds alternate. Rates are
//! medians, and so is the ratio: of the ratios of each round, since a busy machine slows one round down and not another.

use async_nats::jetstream::{self, AckKind, consumer, stream};
use futures_util::StreamExt;
use multiproc_nats::RemoteQueue;
use std::error::Error;
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;
const ONE_BY_ONE: u32 = 2_000;
const MANY: u32 = 20_000;
const AHEAD: usize = 256;
const LEN: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds an argument of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let server = arguments.next().unwrap_or("nats://127.0.0.1:4222".into());
    let replicas: u8 = arguments.next().map_or(Ok(1), |replicas| replicas.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let raw = runtime.block_on(Raw::open(&server, replicas))?;
    let queue: RemoteQueue<Vec<u8>> =
        RemoteQueue::builder().prefetch(AHEAD).replicas(replicas).connect(&format!("{server}/speed"))?;
    let mut times: [[Vec<f64>; 2]; 4] = Default::default();
    for round in 0..ROUNDS {
        // Which one goes first alternates, too.
        for turn in 0..2 {
            let ours = (round + turn) % 2 == 0;
            let took = if ours { ours_once(&queue)? } else { runtime.block_on(raw.once())? };
            for (times, took) in times.iter_mut().zip(took) {
                times[usize::from(ours)].push(took);
            }
        }
    }
    let rows = ["put, one by one", "put, pipelined", "get + done, one by one", "get + done, pipelined"];
    println!("{:24} {:>14} {:>14} {:>6}", "values a second", "async-nats", "RemoteQueue", "ratio");
    for (row, [raw, ours]) in rows.iter().zip(&mut times) {
        let mut ratios: Vec<f64> = ours.iter().zip(raw.iter()).map(|(ours, raw)| ours / raw).collect();
        println!("{row:24} {:14.0} {:14.0} {:6.2}", median(raw), median(ours), median(&mut ratios));
    }
    runtime.block_on(raw.clean())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rate(count: u32, begin: Instant) -> f64 {
    f64::from(count) / begin.elapsed().as_secs_f64()
}

fn ours_once(queue: &RemoteQueue<Vec<u8>>) -> Result<[f64; 4], Box<dyn Error>> {
    let begin = Instant::now();
    for _ in 0..ONE_BY_ONE {
        queue.put(vec![7; LEN])?;
    }
    let put = rate(ONE_BY_ONE, begin);
    let begin = Instant::now();
    queue.put_many((0..MANY).map(|_| vec![7; LEN])).map_err(|error| error.to_string())?;
    let put_many = rate(MANY, begin);
    let begin = Instant::now();
    for _ in 0..ONE_BY_ONE {
        queue.get_delivery()?.done()?;
    }
    let get = rate(ONE_BY_ONE, begin);
    let begin = Instant::now();
    // Each done waits for its answer, and many do so at once.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let one = async || -> Result<(), Box<dyn Error>> {
            queue.get_delivery_async().await?.done_async().await?;
            Ok(())
        };
        let each = futures_util::stream::iter(0..MANY).map(|_| one());
        let mut all = each.buffer_unordered(AHEAD);
        while let Some(done) = all.next().await {
            done?;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    Ok([put, put_many, get, rate(MANY, begin)])
}

/// The same with the client alone.
struct Raw {
    context: jetstream::Context,
    consumer: consumer::PullConsumer,
}

impl Raw {
    async fn open(server: &str, replicas: u8) -> Result<Self, Box<dyn Error>> {
        let context = jetstream::new(async_nats::connect(server).await?);
        let config = stream::Config {
            name: "speed-raw".into(),
            subjects: vec!["speed-raw.put".into()],
            retention: stream::RetentionPolicy::WorkQueue,
            discard: stream::DiscardPolicy::New,
            num_replicas: replicas.into(),
            ..Default::default()
        };
        let stream = context.create_stream(config).await?;
        let config = consumer::pull::Config { durable_name: Some("workers".into()), max_ack_pending: -1, ..Default::default() };
        Ok(Self { consumer: stream.create_consumer(config).await?, context })
    }

    async fn once(&self) -> Result<[f64; 4], Box<dyn Error>> {
        let publish = async |n: u32| {
            // With an id, as a put that may be tried again needs one.
            let message = jetstream::message::PublishMessage::build().payload(vec![7; LEN].into()).message_id(format!(
                "{:p}-{n}-{:?}",
                self,
                Instant::now()
            ));
            self.context.send_publish("speed-raw.put", message).await
        };
        let begin = Instant::now();
        for n in 0..ONE_BY_ONE {
            publish(n).await?.await?;
        }
        let put = rate(ONE_BY_ONE, begin);
        let begin = Instant::now();
        let mut all =
            futures_util::stream::iter(0..MANY).map(|n| async move { publish(ONE_BY_ONE + n).await?.await }).buffered(AHEAD);
        while let Some(done) = all.next().await {
            done?;
        }
        let put_many = rate(MANY, begin);
        let mut messages = self.consumer.stream().max_messages_per_batch(AHEAD).messages().await?;
        let begin = Instant::now();
        for _ in 0..ONE_BY_ONE {
            let message = messages.next().await.ok_or("no message")??;
            message.double_ack_with(AckKind::Ack).await.map_err(|error| error.to_string())?;
        }
        let get = rate(ONE_BY_ONE, begin);
        let begin = Instant::now();
        let acks = messages.take(MANY as usize).map(|message| async { message?.double_ack().await });
        let mut all = acks.buffer_unordered(AHEAD);
        while let Some(done) = all.next().await {
            done.map_err(|error| error.to_string())?;
        }
        Ok([put, put_many, get, rate(MANY, begin)])
    }

    async fn clean(&self) -> Result<(), Box<dyn Error>> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for name in ["speed", "speed-dead", "speed-claims", "speed-raw"] {
            self.context.delete_stream(name).await?;
        }
        Ok(())
    }
}
