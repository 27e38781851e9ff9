//! Single operations of single crates, within one thread: what a profile starts from.

use criterion::{Criterion, criterion_group, criterion_main};
use multiproc::Queue;
use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{Geometry, Mpmc, Owner};
use multiproc_ring::spsc;
use std::hint::black_box;

fn ring(c: &mut Criterion) {
    let geometry = Geometry::new(1024);
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let ring = Mpmc::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
    let mut message = Vec::new();
    c.bench_function("ring: MPMC push and pop, 8 bytes", |b| {
        b.iter(|| {
            ring.push(black_box(&[1; 8])).unwrap();
            message.clear();
            ring.pop(&mut message).unwrap()
        });
    });
    let region = Region::new(Heap::new(spsc::region_len::<u64>(1024).unwrap()));
    let mut producer = spsc::Producer::<u64>::create(&region, 0, 1024).unwrap();
    let mut consumer = spsc::Consumer::<u64>::attach(&region, 0, 1024).unwrap();
    c.bench_function("ring: SPSC push and pop, u64", |b| {
        b.iter(|| {
            producer.push(black_box(1)).unwrap();
            consumer.pop().unwrap()
        });
    });
}

fn queue(c: &mut Criterion) {
    let q = Queue::bounded(1024).unwrap();
    c.bench_function("queue: put and get, u64", |b| {
        b.iter(|| {
            q.put(black_box(1u64)).unwrap();
            q.get().unwrap()
        });
    });
    let q = Queue::bounded(1024).unwrap();
    c.bench_function("queue: put and get, a struct with a string", |b| {
        b.iter(|| {
            q.put((black_box(7u32), "a job with a name".to_string(), [1.5f64; 4])).unwrap();
            q.get().unwrap()
        });
    });
}

criterion_group!(benches, ring, queue);
criterion_main!(benches);
