//! `multiproc top`: every queue with a name, live.

mod events;
mod keys;
mod sample;
mod screen;
mod snapshot;
mod table;
mod terminal;
mod view;
mod who;

use crate::exit::{Exit, say, written};
use crate::place;
use crate::text::Text;
use anyhow::{Context, bail};
use clap::Args;
use events::Happened;
use keys::Action;
use multiproc::queue_names;
use sample::Sampler;
use snapshot::Snapshot;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use terminal::Screen;
use view::{Footer, View};
use who::{Order, Target};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Top {
    /// The queue to select first. Without a name: the first one.
    queue: Option<String>,
    /// Seconds between two looks: 0.1 to 3600.
    #[arg(long, value_name = "S", default_value = "1", value_parser = interval)]
    interval: f64,
    /// Print one screen as plain text, with the rates of one interval.
    #[arg(long)]
    once: bool,
}

const EXAMPLES: &str = "\
Examples:
  multiproc top                   all queues; ? tells the keys
  multiproc top jobs              begin with this one
  multiproc top jobs --once       one screen as text
  watch -n 10 multiproc top --once --interval 5";

fn interval(word: &str) -> Result<f64, String> {
    match word.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("use seconds between 0.1 and 3600".into()),
    }
}

impl Top {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        if let Some(flaw) = self.queue.as_ref().and_then(|_| place::flaw(false)) {
            bail!(flaw.sentence());
        }
        if let Some(name) = self.queue.as_ref().filter(|name| queue_names().is_ok_and(|names| !names.contains(name))) {
            bail!("there is no queue named {}: make it with \"multiproc create\", or let top show all", Text::of(name));
        }
        if self.once {
            return self.print();
        }
        if !std::io::stdout().is_terminal() {
            say!("top needs a terminal: use \"multiproc top --once\", \"multiproc stat\" or \"multiproc ls --json\" in a script");
            return Ok(Exit::Usage);
        }
        App::new(self.view(), Duration::from_secs_f64(self.interval)).run()
    }

    fn view(&self) -> View {
        View { queue: self.queue.as_ref().map(Text::of), interval: self.interval, ..View::default() }
    }

    fn print(self) -> anyhow::Result<Exit> {
        let mut view = View { footer: Footer::Notice(String::new()), ..self.view() };
        let mut sampler = Sampler::default();
        sampler.look(&view);
        std::thread::sleep(Duration::from_secs_f64(self.interval));
        let mut snapshot = sampler.look(&view);
        if view.queue.is_none() {
            view.follow(&snapshot, &snapshot);
            snapshot = sampler.look(&view);
        }
        if let Some(trouble) = &snapshot.trouble {
            bail!("{trouble}");
        }
        let text: String = screen::page(&snapshot, &view, terminal::columns()).into_iter().map(|line| line + "\n").collect();
        written(std::io::stdout().lock().write_all(text.as_bytes()))
    }
}

/// How long a signal may come after what caused it.
const GRACE: Duration = Duration::from_millis(100);

/// `top` on a terminal.
struct App {
    sampler: Sampler,
    snapshot: Snapshot,
    view: View,
    interval: Duration,
    /// What the question is about: the process, and the message that it has in hand.
    asked: Option<(Target, Text)>,
}

impl App {
    fn new(view: View, interval: Duration) -> Self {
        Self { sampler: Sampler::default(), snapshot: Snapshot::default(), view, interval, asked: None }
    }

    fn run(mut self) -> anyhow::Result<Exit> {
        let (teller, happened) = events::signals()?;
        let mut screen = Screen::enter()?;
        events::keys(teller)?;
        self.watch(&mut screen, &happened).or_else(|error| {
            // A terminal that goes away fails first, and sends SIGHUP next.
            let ended = |what| if let Happened::Ended(signal) = what { Some(Exit::Signal(signal)) } else { None };
            let late = std::iter::from_fn(|| happened.recv_timeout(GRACE).ok());
            late.filter_map(ended).next().ok_or(error)
        })
    }

    fn watch(&mut self, screen: &mut Screen, happened: &Receiver<Happened>) -> anyhow::Result<Exit> {
        let mut next = Instant::now();
        loop {
            if Instant::now() >= next {
                self.look();
                next = Instant::now() + self.interval;
            }
            screen.draw(|area, buffer| screen::draw(&self.snapshot, &self.view, area, buffer))?;
            match happened.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) | Ok(Happened::Resized) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Exit::Done),
                Ok(Happened::Key(key)) => match keys::press(key, &mut self.view, &self.snapshot) {
                    Action::Draw => {}
                    Action::Look => self.look(),
                    Action::Ask(order) => self.ask(order),
                    Action::Yes => self.carry_out(),
                    Action::No => self.asked = None,
                    Action::Quit => return Ok(Exit::Done),
                    Action::Interrupt => return Ok(Exit::Signal(signal_hook::consts::SIGINT as u8)),
                    Action::Stop => self.stop(screen)?,
                },
                Ok(Happened::Stopped) => self.stop(screen)?,
                Ok(Happened::Continued) => screen.take_again()?,
                Ok(Happened::Ended(signal)) => return Ok(Exit::Signal(signal)),
                Ok(Happened::Lost(error)) => return Err(error).context("can't read the terminal"),
            }
        }
    }

    fn look(&mut self) {
        let mut now = self.sampler.look(&self.view);
        let before = self.view.queue.clone();
        self.view.follow(&self.snapshot, &now);
        if self.view.queue != before {
            now = self.sampler.look(&self.view);
            self.view.follow(&now, &now);
        }
        self.snapshot = now;
    }

    fn stop(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        if !screen.stop()? {
            self.notice("there is no shell to go back to: q quits");
        }
        Ok(())
    }

    fn notice(&mut self, words: &str) {
        self.view.footer = Footer::Notice(words.to_owned());
    }

    /// Asks whether the holder of the selected message shall be told to.
    fn ask(&mut self, order: Order) {
        let Some(holder) = self.view.holder(&self.snapshot).cloned() else {
            return self.notice("select a message first");
        };
        let file = self.view.queue.as_ref().and_then(|name| self.sampler.file(name));
        match Target::find(holder.pid, file, order) {
            Err(why) => self.notice(&why),
            Ok(target) => {
                let question = match order {
                    Order::Kill => format!("Kill process {} ({:.24})?", holder.pid, holder.command.unwrap_or_default()),
                    Order::GiveBack => format!("Have process {} give back what it has?", holder.pid),
                };
                self.view.footer = Footer::Question(question);
                self.asked = Some((target, holder.id));
            }
        }
    }

    /// The answer was yes. The process is told only if it still has the message.
    fn carry_out(&mut self) {
        let Some((target, message)) = self.asked.take() else { return };
        self.look();
        let queue = self.view.queue.as_ref().and_then(|name| self.snapshot.row(name)?.queue.as_ref().ok());
        let has_it = queue.is_some_and(|queue| {
            queue.holders.iter().any(|holder| holder.is_alive && holder.pid == target.pid && holder.id == message)
        });
        if !has_it {
            return self.notice(&format!("process {} does not have message {message} any more: nothing was done", target.pid));
        }
        match target.carry_out() {
            Err(why) => self.notice(&why),
            Ok(()) => self.notice(&match target.order {
                Order::Kill => format!("process {} was killed: what it had goes to others", target.pid),
                Order::GiveBack => format!("process {} was told to give back", target.pid),
            }),
        }
        self.look();
    }
}
