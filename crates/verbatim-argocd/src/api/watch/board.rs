//! What a stream has shown of its applications, and who listens. Knows no network.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::WatchEvent;
use crate::api::error::Error;
use crate::api::request::AppRef;
use crate::model::Application;

/// Whether a stream shows whatever is written from now on. Argo CD's server shows all applications as they are, and only
/// then subscribes to their changes (`Watch` in `server/application/application.go`). What somebody writes in between, nobody
/// is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not shown all applications yet.
    Begins,
    /// It has shown its one application, at this time, and subscribes right after.
    Shown(Instant),
    /// It has shown all of several applications, the last of them at this time. Others may follow before it subscribes.
    ShownAll(Instant),
    /// It has shown a change, so it is subscribed.
    Subscribed,
}

/// Where a stream puts what it shows.
#[derive(Debug)]
pub(crate) struct Board {
    /// Whether it is of one application, for the one who started it.
    is_single: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By namespace and name. The namespace of a single one is not known, and none is needed.
    places: BTreeMap<(String, String), Watched>,
    /// When the last of the states came that are shown before the subscription.
    shown_at: Option<Instant>,
    is_subscribed: bool,
    /// Nothing more will come.
    has_ended: bool,
}

#[derive(Debug)]
struct Watched {
    app: AppRef,
    /// The newest state of this stream, for who listens later.
    newest: Option<Application>,
    /// Whether this stream has shown it.
    is_shown: bool,
    /// Not bounded: one who is slow must not hold up the others, and nobody listens for longer than a deployment.
    listeners: Vec<UnboundedSender<WatchEvent>>,
}

impl Watched {
    fn of(app: &AppRef) -> Self {
        Self { app: app.clone(), newest: None, is_shown: false, listeners: Vec::new() }
    }

    /// Its project says nothing of which application it is.
    fn is_of(&self, app: &AppRef) -> bool {
        self.app.name == app.name && self.app.namespace == app.namespace
    }

    fn tell(&mut self, event: impl Fn() -> WatchEvent) {
        self.listeners.retain(|listener| listener.send(event()).is_ok());
    }
}

/// One who listened to a board that has ended.
pub(super) struct Listener {
    pub(super) app: AppRef,
    pub(super) events: UnboundedSender<WatchEvent>,
}

impl Board {
    pub(super) fn of_one(app: &AppRef, listener: UnboundedSender<WatchEvent>) -> Self {
        let watched = Watched { listeners: vec![listener], ..Watched::of(app) };
        let places = BTreeMap::from([((String::new(), app.name.clone()), watched)]);
        Self { is_single: true, state: Mutex::new(State { places, ..State::default() }) }
    }

    pub(super) fn of_several(apps: &[(AppRef, String)]) -> Self {
        let place = |(app, namespace): &(AppRef, String)| {
            ((namespace.clone(), app.name.clone()), Watched::of(app))
        };
        let places = apps.iter().map(place).collect();
        Self { is_single: false, state: Mutex::new(State { places, ..State::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to one of several applications, from its newest state on. `None` if it is not among them.
    pub(crate) fn listen(&self, app: &AppRef) -> Option<UnboundedReceiver<WatchEvent>> {
        let mut state = self.lock();
        if self.is_single || state.has_ended {
            return None;
        }
        let place = state.places.values_mut().find(|place| place.is_of(app))?;
        let (sender, events) = unbounded_channel();
        if let Some(newest) = &place.newest {
            // The receiver is here.
            let _ = sender.send(WatchEvent::Changed(Box::new(newest.clone())));
        }
        place.listeners.push(sender);
        Some(events)
    }

    /// Whether it is of several applications, and this is one of them.
    pub(crate) fn has(&self, app: &AppRef) -> bool {
        let state = self.lock();
        !self.is_single && !state.has_ended && state.places.values().any(|place| place.is_of(app))
    }

    pub(crate) fn standing(&self) -> Standing {
        let state = self.lock();
        match state.shown_at {
            _ if state.is_subscribed => Standing::Subscribed,
            Some(at) if state.places.values().all(|place| place.is_shown) => match self.is_single {
                true => Standing::Shown(at),
                false => Standing::ShownAll(at),
            },
            _ => Standing::Begins,
        }
    }

    /// Notes an event, of whichever application. Whether it is one that somebody wants to know more of.
    pub(super) fn note(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let mut state = self.lock();
        match kind {
            // One that is new looks the same and only makes a writer wait for a moment.
            "ADDED" => state.shown_at = Some(Instant::now()),
            _ => state.is_subscribed = true,
        }
        self.is_single || state.places.contains_key(&(namespace.to_owned(), name.to_owned()))
    }

    /// Takes a state of an application.
    pub(super) fn show(&self, app: Application) {
        let mut state = self.lock();
        let Some(place) = self.watched(&mut state, &app.metadata.namespace, &app.metadata.name)
        else {
            return;
        };
        place.is_shown = true;
        place.tell(|| WatchEvent::Changed(Box::new(app.clone())));
        if !self.is_single {
            place.newest = Some(app);
        }
    }

    /// Takes it that an application is gone.
    pub(super) fn remove(&self, namespace: &str, name: &str) {
        let mut state = self.lock();
        let Some(place) = self.watched(&mut state, namespace, name) else { return };
        place.newest = None;
        place.tell(|| WatchEvent::Deleted);
    }

    fn watched<'s>(
        &self,
        state: &'s mut State,
        namespace: &str,
        name: &str,
    ) -> Option<&'s mut Watched> {
        match self.is_single {
            true => state.places.values_mut().next(),
            false => state.places.get_mut(&(namespace.to_owned(), name.to_owned())),
        }
    }

    /// Forgets what the stream has shown: it was interrupted, and what it shows next begins anew.
    pub(super) fn interrupt(&self) {
        let mut state = self.lock();
        (state.shown_at, state.is_subscribed) = (None, false);
        for place in state.places.values_mut() {
            (place.newest, place.is_shown) = (None, false);
            place.tell(|| WatchEvent::Interrupted);
        }
    }

    /// Tells the one who started it that nothing more will come, and why. Those who share it are given back: each goes on
    /// alone.
    pub(super) fn lose(&self, error: Error) -> Vec<Listener> {
        if !self.is_single {
            return self.end();
        }
        if let Some(listener) = self.end().into_iter().next() {
            // One who does not listen any more does not want to know.
            let _ = listener.events.send(WatchEvent::Lost(Box::new(error)));
        }
        Vec::new()
    }

    /// Ends it. Nobody listens to it from now on.
    pub(super) fn end(&self) -> Vec<Listener> {
        let mut state = self.lock();
        state.has_ended = true;
        let places = state.places.values_mut();
        let listeners = places.flat_map(|place| {
            let app = place.app.clone();
            place.listeners.drain(..).map(move |events| Listener { app: app.clone(), events })
        });
        listeners.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(namespace: &str, name: &str, version: &str) -> Application {
        let metadata = json!({ "name": name, "namespace": namespace, "resourceVersion": version });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn elsewhere(namespace: &str, name: &str) -> AppRef {
        AppRef { namespace: Some(namespace.into()), ..AppRef::new(name) }
    }

    fn told(events: &mut UnboundedReceiver<WatchEvent>) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(event) = events.try_recv() {
            told.push(match event {
                WatchEvent::Changed(app) => app.metadata.resource_version,
                other => format!("{other:?}"),
            });
        }
        told
    }

    /// Two of the same name, each in its namespace, and a third one.
    fn board() -> Board {
        Board::of_several(&[
            (AppRef::new("web"), "argocd".into()),
            (elsewhere("team", "web"), "team".into()),
            (AppRef::new("api"), "argocd".into()),
        ])
    }

    fn show(board: &Board, kind: &str, app: Application) {
        if board.note(kind, &app.metadata.namespace, &app.metadata.name) {
            board.show(app);
        }
    }

    #[test]
    fn each_is_told_of_its_own_application_from_the_newest_state_on() {
        let board = board();
        show(&board, "ADDED", app("argocd", "web", "1"));
        show(&board, "ADDED", app("team", "web", "2"));
        show(&board, "ADDED", app("other", "web", "3"));
        show(&board, "MODIFIED", app("argocd", "web", "4"));
        let mut own = board.listen(&AppRef::new("web")).unwrap();
        let mut other = board.listen(&elsewhere("team", "web")).unwrap();
        show(&board, "MODIFIED", app("argocd", "web", "5"));
        board.remove("team", "web");
        assert_eq!(told(&mut own), ["4", "5"]);
        assert_eq!(told(&mut other), ["2", "Deleted"]);
        assert!(board.listen(&AppRef::new("none")).is_none());
        assert_eq!(told(&mut board.listen(&elsewhere("team", "web")).unwrap()), [""; 0]);
    }

    #[test]
    fn a_stream_is_subscribed_when_it_has_shown_all_or_a_change() {
        let board = board();
        assert_eq!(board.standing(), Standing::Begins);
        show(&board, "ADDED", app("argocd", "web", "1"));
        show(&board, "ADDED", app("argocd", "api", "1"));
        assert_eq!(board.standing(), Standing::Begins, "one has not been shown");
        show(&board, "ADDED", app("team", "web", "1"));
        assert!(matches!(board.standing(), Standing::ShownAll(_)));
        // Of an application that nobody wants: it comes all the same.
        show(&board, "MODIFIED", app("other", "web", "1"));
        assert_eq!(board.standing(), Standing::Subscribed);
        board.interrupt();
        assert_eq!(board.standing(), Standing::Begins);

        let (sender, _events) = unbounded_channel();
        let single = Board::of_one(&AppRef::new("web"), sender);
        show(&single, "ADDED", app("argocd", "web", "1"));
        assert!(matches!(single.standing(), Standing::Shown(_)));
    }

    #[test]
    fn after_an_interruption_nothing_old_is_shown() {
        let board = board();
        show(&board, "ADDED", app("argocd", "web", "1"));
        let mut early = board.listen(&AppRef::new("web")).unwrap();
        board.interrupt();
        let mut late = board.listen(&AppRef::new("web")).unwrap();
        show(&board, "ADDED", app("argocd", "web", "2"));
        assert_eq!(told(&mut early), ["1", "Interrupted", "2"]);
        assert_eq!(told(&mut late), ["2"]);
    }

    #[test]
    fn who_listens_to_a_board_that_ends_is_given_back() {
        let board = board();
        let _web = board.listen(&AppRef::new("web")).unwrap();
        let given: Vec<_> = board.end().into_iter().map(|listener| listener.app).collect();
        assert_eq!(given, [AppRef::new("web")]);
        assert!(board.listen(&AppRef::new("web")).is_none());
    }
}
