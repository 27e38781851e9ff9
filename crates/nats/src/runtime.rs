//! The tokio inside: one runtime for all connections of a process, and futures of it that run anywhere.

use crate::error::ServerError;
use multiproc_prim::PerProcess;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime of this process: the threads of another one are not in a forked copy.
static RUNTIME: PerProcess<std::io::Result<Runtime>> =
    PerProcess::new(|| Builder::new_multi_thread().worker_threads(2).thread_name("multiproc-nats").enable_all().build());

pub(crate) fn runtime() -> Result<&'static Handle, ServerError> {
    match RUNTIME.get() {
        Ok(runtime) => Ok(runtime.handle()),
        Err(why) => Err(ServerError::Refused { why: format!("this system gives no threads for the connection: {why}") }),
    }
}

/// Starts a task of the library.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = runtime() {
        drop(runtime.spawn(task));
    }
}

/// Waits for a future in this thread. Unlike tokio's own `block_on`, it may be called by a thread of another runtime.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let _clock = runtime().ok().map(Handle::enter);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Runs a future with the runtime's clock, under any other runtime.
pub(crate) async fn anywhere<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _clock = runtime().ok().map(Handle::enter);
        future.as_mut().poll(context)
    })
    .await
}
