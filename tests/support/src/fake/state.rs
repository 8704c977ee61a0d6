//! The state shared by the handle and the connections of a fake provider: behaviour, log, and kill switch.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use super::{
    log::{Log, Running},
    request::Request,
};
use crate::{openai, script::Script};

/// Decides the answer to a request.
pub(super) type Behaviour = Arc<dyn Fn(&Request) -> Script + Send + Sync>;

/// The shared state of one fake provider.
pub(super) struct Shared {
    pub(super) log: Arc<Log>,
    rules: Mutex<Rules>,
    kill: watch::Sender<u64>,
    /// Every connection holds a clone of the one it began with.
    alive: Mutex<Arc<()>>,
}

/// The lifetime of a connection: the receiver signals its end, dropping the token confirms it.
pub(super) struct Life {
    pub(super) killed: watch::Receiver<u64>,
    _token: Arc<()>,
}

struct Rules {
    /// Answers to the next requests, one each.
    queue: VecDeque<Script>,
    models: HashMap<String, Behaviour>,
    otherwise: Behaviour,
}

impl Shared {
    pub(super) fn new(says: &str) -> Arc<Self> {
        let rules = Rules { queue: VecDeque::new(), models: HashMap::new(), otherwise: sane(says) };
        Arc::new(Self {
            log: Arc::default(),
            rules: Mutex::new(rules),
            kill: watch::Sender::new(0),
            alive: Mutex::default(),
        })
    }

    /// Answers this way from now on, except for models with a behaviour of their own.
    pub(super) fn otherwise(&self, behaviour: Behaviour) {
        self.with(|rules| rules.otherwise = behaviour);
    }

    /// Answers requests for `model` this way from now on.
    pub(super) fn for_model(&self, model: &str, behaviour: Behaviour) {
        self.with(|rules| rules.models.insert(model.to_owned(), behaviour));
    }

    /// Answers the next request (that is not a health check) with this.
    pub(super) fn push(&self, script: Script) {
        self.with(|rules| rules.queue.push_back(script));
    }

    /// Back to a healthy provider with this text.
    pub(super) fn heal(&self, says: &str) {
        self.with(|rules| {
            *rules = Rules { queue: VecDeque::new(), models: HashMap::new(), otherwise: sane(says) }
        });
    }

    pub(super) fn script_for(&self, request: &Request) -> Script {
        let queued = self.with(|rules| if request.is_work() { rules.queue.pop_front() } else { None });
        if let Some(script) = queued {
            return script;
        }
        let model = request.model();
        let behaviour = self.with(|r| Arc::clone(r.models.get(&model).unwrap_or(&r.otherwise)));
        behaviour(request)
    }

    pub(super) fn begin(&self, connection: usize, head: &Request) -> Running {
        self.log.begin(connection, head)
    }

    /// The lifetime that a new connection must hold.
    pub(super) fn life(&self) -> Life {
        let alive = self.alive.lock().expect("never poisoned");
        Life { killed: self.kill.subscribe(), _token: Arc::clone(&alive) }
    }

    /// Resets every open connection and waits until they are gone.
    pub(super) async fn kill(&self) {
        let old = {
            let mut alive = self.alive.lock().expect("never poisoned");
            self.kill.send_modify(|n| *n += 1);
            std::mem::take(&mut *alive)
        };
        while Arc::strong_count(&old) > 1 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Rules) -> T) -> T {
        f(&mut self.rules.lock().expect("no test panics while it holds the rules"))
    }
}

fn sane(says: &str) -> Behaviour {
    let says = says.to_owned();
    Arc::new(move |request| openai::sane(request, &says))
}
