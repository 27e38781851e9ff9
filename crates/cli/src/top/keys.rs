//! What each key does.

use super::snapshot::Snapshot;
use super::view::{Footer, Pane, View};
use super::who::Order;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What is left to do after the view has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Draw,
    /// Look again at once: the lower pane shows another queue.
    Look,
    /// Ask before this is done to the holder of the selected message.
    Ask(Order),
    /// The question was answered.
    Yes,
    No,
    Quit,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Stop,
}

/// Changes the view as a key wants it.
pub(crate) fn press(key: KeyEvent, view: &mut View, snapshot: &Snapshot) -> Action {
    if key.kind == KeyEventKind::Release {
        return Action::Draw;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Action::Interrupt,
            KeyCode::Char('z') => Action::Stop,
            KeyCode::Char('l') => Action::Look,
            _ => Action::Draw,
        };
    }
    match std::mem::take(&mut view.footer) {
        Footer::Question(_) if matches!(key.code, KeyCode::Char('y' | 'Y')) => return Action::Yes,
        Footer::Question(_) => return Action::No,
        Footer::Notice(_) | Footer::Keys => {}
    }
    if std::mem::take(&mut view.is_help) {
        return Action::Draw;
    }
    let holders = view.is_below && view.pane == Pane::Holders;
    let page = 10;
    match key.code {
        KeyCode::Char('q') => return Action::Quit,
        KeyCode::Char('?' | 'h') => view.is_help = true,
        KeyCode::Char('k') if holders => return Action::Ask(Order::Kill),
        KeyCode::Char('g') if holders => return Action::Ask(Order::GiveBack),
        KeyCode::Char('k' | 'g') => {
            view.footer = Footer::Notice("Tab goes to the messages in hand: select one there first".into())
        }
        KeyCode::Char('d') => {
            view.pane = if view.pane == Pane::Dead { Pane::Holders } else { Pane::Dead };
            view.message = None;
            return Action::Look;
        }
        KeyCode::Tab | KeyCode::BackTab | KeyCode::Enter => view.is_below = !view.is_below,
        KeyCode::Esc => view.is_below = false,
        KeyCode::Up => return step(view, snapshot, -1),
        KeyCode::Down => return step(view, snapshot, 1),
        KeyCode::PageUp => return step(view, snapshot, -page),
        KeyCode::PageDown => return step(view, snapshot, page),
        KeyCode::Home => return step(view, snapshot, isize::MIN),
        KeyCode::End => return step(view, snapshot, isize::MAX),
        _ => {}
    }
    Action::Draw
}

fn step(view: &mut View, snapshot: &Snapshot, by: isize) -> Action {
    view.step(snapshot, by);
    if view.is_below { Action::Draw } else { Action::Look }
}
