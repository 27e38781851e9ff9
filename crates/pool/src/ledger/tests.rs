//! A worker dies between any two of its steps. No process takes part: the test does what a worker would have done.

use super::*;
use multiproc_travel::pass;

const KILLED: Exit = Exit::Signal(9);

/// What became of the elements of a job.
#[derive(Default)]
struct Outcomes(Mutex<Vec<(usize, Result<usize, TaskError>)>>);

impl Job for Outcomes {
    fn deliver(&self, first: usize, results: Results) {
        self.0.lock().unwrap().extend((first..first + results.count).map(|element| (element, Ok(element))));
    }

    fn fail(&self, elements: Range<usize>, error: &TaskError) {
        self.0.lock().unwrap().extend(elements.map(|element| (element, Err(error.clone()))));
    }
}

struct Scene {
    ledger: Ledger,
    outcomes: Arc<Outcomes>,
    order: Order,
    bytes: Vec<u8>,
}

impl Scene {
    /// An order of `count` elements, which a worker has got.
    fn new(count: usize, retries: u32) -> Self {
        let board = Board::create(1).unwrap();
        let ledger = Ledger::new(board, JoinableQueue::unbounded().unwrap(), Queue::unbounded().unwrap(), retries);
        let outcomes = Arc::new(Outcomes::default());
        let job: Arc<dyn Job> = outcomes.clone();
        ledger.submit(&job, Name { offset: 0, tag: 0 }, Lot { base: 100, count, bytes: vec![0; Order::LEN] }).unwrap();
        let bytes = ledger.orders.get_delivery().unwrap().done();
        let order = Order::read(&bytes).unwrap().0;
        Self { ledger, outcomes, order, bytes }
    }

    fn take(&self, at: At) {
        self.ledger.board.take(0, Hand::new(self.order.number, at), false);
    }

    fn put_results(&self, first: u32, count: u32) {
        let mut values = Vec::new();
        pass::encode_plain(&vec![0u8; count as usize], &mut values).unwrap();
        let report = Report { first, count, ..Report::of(What::Results, self.order.number) };
        self.ledger.take(vec![report.with(&values)]);
    }

    fn send_back(&self) {
        self.ledger.take(vec![Report::of(What::Returned, self.order.number).with(&self.bytes)]);
    }

    /// Dies; the order comes back before or after the supervisor sees that.
    fn die(&self, sent_back_first: bool) {
        if sent_back_first {
            self.send_back();
        }
        self.ledger.died(0, KILLED, None);
        if !sent_back_first {
            self.send_back();
        }
    }

    /// The elements that run again, order by order.
    fn again(&self) -> Vec<(u32, u32)> {
        let orders = std::iter::from_fn(|| self.ledger.orders.try_get_delivery().ok());
        orders.map(|delivery| Order::read(&delivery.done()).unwrap().0).map(|order| (order.from, order.to)).collect()
    }

    fn failed(&self) -> Vec<usize> {
        self.outcomes.0.lock().unwrap().iter().filter(|(_, outcome)| outcome.is_err()).map(|&(element, _)| element).collect()
    }
}

/// The scene is played with both orders of events.
fn each(count: usize, play: impl Fn(&Scene), again: &[(u32, u32)], failed: &[usize]) {
    for sent_back_first in [false, true] {
        let scene = Scene::new(count, 0);
        play(&scene);
        scene.die(sent_back_first);
        assert_eq!((&scene.again()[..], &scene.failed()[..]), (again, failed), "sent back first: {sent_back_first}");
        // A second copy of the order, from a worker that died while it sent the first one back.
        scene.send_back();
        assert!(scene.again().is_empty());
    }
}

#[test]
fn a_death_before_the_order_is_on_the_board_blames_nobody() {
    each(4, |_| {}, &[(0, 4)], &[]);
    each(1, |_| {}, &[(0, 1)], &[]);
}

#[test]
fn a_death_while_the_arguments_are_read_blames_only_an_element_that_is_alone() {
    each(4, |scene| scene.take(At::Reading), &[(0, 4)], &[]);
    each(1, |scene| scene.take(At::Reading), &[], &[100]);
}

#[test]
fn a_death_with_an_element_in_hand_blames_that_element_and_runs_the_others_again() {
    each(4, |scene| scene.take(At::Element(2)), &[(0, 2), (3, 4)], &[102]);
    each(4, |scene| scene.take(At::Element(0)), &[(1, 4)], &[100]);
}

#[test]
fn a_death_while_results_are_written_blames_only_an_element_that_is_alone() {
    each(4, |scene| scene.take(At::Writing(0)), &[(0, 4)], &[]);
    each(1, |scene| scene.take(At::Writing(0)), &[], &[100]);
}

#[test]
fn a_death_after_results_were_put_runs_only_the_others_again_and_blames_nobody() {
    let put_some = |count| {
        move |scene: &Scene| {
            scene.take(At::Writing(0));
            scene.put_results(0, count);
        }
    };
    each(4, put_some(2), &[(2, 4)], &[]);
    // The last element is alone now, and has not begun.
    each(4, put_some(3), &[(3, 4)], &[]);
    each(4, put_some(4), &[], &[]);
}

#[test]
fn results_that_come_twice_count_once() {
    let scene = Scene::new(3, 0);
    scene.put_results(0, 2);
    scene.put_results(0, 2);
    scene.put_results(2, 1);
    scene.put_results(2, 1);
    let elements: Vec<usize> = scene.outcomes.0.lock().unwrap().iter().map(|&(element, _)| element).collect();
    assert_eq!(elements, [100, 101, 102]);
    assert!(scene.ledger.is_idle());
}

#[test]
fn retries_count_for_the_element_alone() {
    let scene = Scene::new(3, 1);
    scene.take(At::Element(1));
    scene.die(false);
    assert_eq!(scene.again(), [(0, 1), (2, 3), (1, 2)]);
    assert!(scene.failed().is_empty());
}

#[test]
fn an_order_that_workers_die_of_again_and_again_while_they_read_it_is_split() {
    let mut scene = Scene::new(8, 0);
    for expected in [vec![(0, 8)], vec![(0, 8)], vec![(0, 4), (4, 8)]] {
        scene.take(At::Reading);
        scene.ledger.died(0, KILLED, None);
        scene.send_back();
        let orders: Vec<Vec<u8>> =
            std::iter::from_fn(|| scene.ledger.orders.try_get_delivery().ok()).map(|order| order.done()).collect();
        let ranges = orders.iter().map(|bytes| Order::read(bytes).unwrap().0).map(|order| (order.from, order.to));
        assert_eq!(ranges.collect::<Vec<_>>(), expected);
        scene.bytes = orders[0].clone();
        scene.order = Order::read(&scene.bytes).unwrap().0;
    }
}

#[test]
fn a_worker_that_was_killed_for_being_late_blames_the_late_element_or_nobody() {
    for (killed_at, again, failed) in [(0, vec![(1, 3)], vec![100]), (1, vec![(0, 3)], vec![])] {
        let scene = Scene::new(3, 0);
        scene.take(At::Element(killed_at));
        let late = Hand::new(scene.order.number, At::Element(0));
        scene.ledger.died(0, KILLED, Some((late, Duration::from_secs(1))));
        scene.send_back();
        assert_eq!((scene.again(), scene.failed()), (again, failed));
    }
}
