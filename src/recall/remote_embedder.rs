//! Vectors from an OpenAI-compatible target: calls of the gateway's own, scored and failed over like a user's.
//!
//! Such a call has a slot like every other, from slots of its own: it neither waits for a user nor lets one wait. Its
//! texts are users' words and must never reach a log, an error or a page: its user is [`UserId::gateway`], and for
//! that user nothing that a provider says is repeated.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::time::Instant;

use crate::{
    admission::{
        Admission, Admitted,
        process_limits::HeldBytes,
        request::{AdmissionRequest, Operation},
    },
    call::{
        Call, MemoryUse, Registry, UpstreamRequest,
        record::{self, RequestInfo, RequestRecord},
    },
    config::{self, TargetName},
    dispatch::{self, AnsweredBody, Dispatcher},
    memory::{
        embedding::embedder::{EmbedPurpose, TextEmbedder},
        errors::EmbedError,
    },
    openai::{Api, embeddings, request_body::RequestContent, request_peek},
    refusal::{GatewayError, Refusal, UpstreamError},
    telemetry::trace::Span,
    upstream::{Model, Snapshot},
    user::UserId,
};

/// Calls at the same time.
const AT_ONCE: u32 = 64;
/// Calls that may wait for one of them: as many as chats may be in flight.
const WAITING: u32 = 1000;

/// What a call goes through.
pub(crate) struct EmbedderContext {
    /// Gets the answers.
    pub dispatcher: Arc<Dispatcher>,
    /// Lists the calls.
    pub calls: Arc<Registry>,
    /// The configuration in force; `None` once the gateway is gone.
    pub snapshot: Box<dyn Fn() -> Option<Arc<Snapshot>> + Send + Sync>,
}

/// Asks one model of the configuration for vectors.
pub(crate) struct RemoteEmbedder {
    id: Arc<str>,
    model: String,
    dimensions: u32,
    /// The model gives another length unless it is asked for this one.
    asks_dimensions: AtomicBool,
    admission: Admission,
    context: OnceLock<EmbedderContext>,
}

impl TextEmbedder for RemoteEmbedder {
    fn id(&self) -> &Arc<str> {
        &self.id
    }

    fn embed<'a>(
        &'a self,
        texts: &'a [&'a str],
        purpose: EmbedPurpose,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> {
        self.vectors(texts, purpose, limit).boxed()
    }
}

impl RemoteEmbedder {
    /// The embedder of this configuration, which cannot reach anybody yet; `None` for the built-in one.
    pub(crate) fn from_config(config: &config::MemoryConfig) -> Option<Arc<Self>> {
        match &config.embedder {
            config::Embedder::OpenAi { model, dimensions } if config.enabled => {
                Some(Arc::new(Self::new(model, *dimensions)))
            }
            config::Embedder::OpenAi { .. } | config::Embedder::Builtin => None,
        }
    }

    fn new(model: &str, dimensions: u32) -> Self {
        let slots = config::SlotsConfig {
            per_user: AT_ONCE,
            queue: WAITING,
            queue_timeout: Duration::from_secs(60),
            total: AT_ONCE,
            operations: BTreeMap::new(),
        };
        Self {
            id: format!("{model}/{dimensions}").into(),
            model: model.to_owned(),
            dimensions,
            asks_dimensions: AtomicBool::new(false),
            admission: Admission::slots_only(&slots),
            context: OnceLock::new(),
        }
    }

    /// From now on calls go through `context`; a second one changes nothing.
    pub(crate) fn connect(&self, context: EmbedderContext) {
        drop(self.context.set(context));
    }

    async fn vectors(
        &self,
        texts: &[&str],
        purpose: EmbedPurpose,
        limit: Duration,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let asked = self.asks_dimensions.load(Relaxed);
        let vectors = self.ask(texts, asked, purpose, limit).await?;
        let length = vectors.first().map_or(0, Vec::len);
        if vectors.iter().all(|vector| vector.len() == self.dimensions as usize) {
            return Ok(vectors);
        }
        // Asked for a length only now: many servers refuse the field, and most models need none.
        self.asks_dimensions.store(!asked, Relaxed);
        let (model, wanted) = (&self.model, self.dimensions);
        Err(EmbedError::Away(format!("{model} gives vectors of {length} numbers and not of {wanted}")))
    }

    async fn ask(
        &self,
        texts: &[&str],
        dimensions: bool,
        purpose: EmbedPurpose,
        limit: Duration,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let context = self.context.get().ok_or_else(|| unavailable("the gateway is starting"))?;
        let body = embeddings::request(&self.model, texts, dimensions.then_some(self.dimensions));
        let body = body.map_err(|_| EmbedError::Refused)?;
        let call = self.call(context, body, purpose, Instant::now() + limit).await?;
        // Boxed: a search within the recall of a call that will be searched for is deep for a compiler.
        let answered = Box::pin(dispatch::run(&context.dispatcher, call)).await;
        match answered.map_err(|refused| embed_error(&refused.refusal))?.body {
            AnsweredBody::Whole(body, _call) => embeddings::vectors(&body, texts.len())
                .ok_or_else(|| unavailable("the answer does not have one vector for each text")),
            AnsweredBody::Events(_) | AnsweredBody::Raw(_) => Err(unavailable("the answer is a stream")),
        }
    }

    async fn call(
        &self,
        context: &EmbedderContext,
        body: Bytes,
        purpose: EmbedPurpose,
        deadline: Instant,
    ) -> Result<Box<Call>, EmbedError> {
        let snapshot = (context.snapshot)().ok_or_else(|| unavailable("the gateway is stopping"))?;
        let received = Instant::now();
        let (user, operation) = (UserId::gateway(), Operation::Embeddings);
        let id: Arc<str> = format!("embed-{:016x}", fastrand::u64(..)).into();
        let model: Arc<str> = self.model.as_str().into();
        let entry = context.calls.enter(id.clone(), user.clone(), operation.as_str(), model.clone());
        // What a chat waits for goes first.
        let priority = if purpose == EmbedPurpose::Query { 1 } else { 0 };
        let admission = AdmissionRequest { user: &user, operation, priority, cost: None };
        let admitted = self.admission.admit(&admission).await;
        let Admitted { slot, reservation } =
            admitted.map_err(|_| unavailable("too many calls wait for a slot"))?;
        let ask = self.request_body(&snapshot, body)?;
        let queued = received.elapsed();
        // Of no user's model: what it cost is counted with the target, per attempt.
        let about = RequestInfo {
            id: id.clone(),
            user: user.pseudonym(),
            operation: operation.as_str(),
            gen_ai: record::gen_ai(Api::Embeddings),
            model,
            received,
            queued,
        };
        Ok(Box::new(Call {
            record: RequestRecord::new(about, None, Span::default(), reservation),
            id,
            user,
            api: Api::Embeddings,
            upstream: ask,
            snapshot,
            received,
            queued,
            deadline,
            slot,
            client_timeout: purpose == EmbedPurpose::Query,
            memory: MemoryUse::Off,
            capture: None,
            in_flight: entry,
        }))
    }

    /// The model alone: a fallback is another model, and its vectors mean something else.
    fn request_body(&self, snapshot: &Snapshot, body: Bytes) -> Result<UpstreamRequest, EmbedError> {
        let model = snapshot.model(&self.model).cloned().or_else(|| self.direct(snapshot));
        let model = model
            .ok_or_else(|| unavailable("memory.embedding_model is not in the configuration any more"))?;
        let peek = request_peek::peek(&body).map_err(|_| EmbedError::Refused)?;
        Ok(UpstreamRequest {
            method: Method::POST,
            path: "/embeddings".into(),
            headers: HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )]),
            body,
            held: HeldBytes::default(),
            content: RequestContent::Json(Box::new(peek)),
            models: vec![model],
            pinned: false,
        })
    }

    fn direct(&self, snapshot: &Snapshot) -> Option<Arc<Model>> {
        snapshot.ad_hoc(&TargetName::parse(&self.model)?)
    }
}

fn unavailable(what: &str) -> EmbedError {
    EmbedError::Away(what.to_owned())
}

/// What a refusal means here. A provider's own words stay out: they may quote the texts.
fn embed_error(refusal: &Refusal) -> EmbedError {
    match refusal {
        Refusal::Upstream(error) => why_upstream(error),
        Refusal::Gateway(GatewayError::ShuttingDown) => unavailable("the gateway is stopping"),
        Refusal::Gateway(GatewayError::Internal)
        | Refusal::Auth(_)
        | Refusal::Request(_)
        | Refusal::Admission(_)
        | Refusal::Memory(_) => unavailable("it is refused"),
    }
}

fn why_upstream(error: &UpstreamError) -> EmbedError {
    match error {
        UpstreamError::Provider(reply) if reply.status.is_client_error() => EmbedError::Refused,
        UpstreamError::Provider(_) => unavailable("it is refused"),
        UpstreamError::Timeout(_) => EmbedError::Late,
        UpstreamError::Failed(failed)
        | UpstreamError::InvalidResponse(failed)
        | UpstreamError::KeyRefused(failed) => EmbedError::Away(failed.message.clone()),
        UpstreamError::NoTarget { .. } => unavailable("every target is out at the moment"),
        UpstreamError::RateLimited { .. } => unavailable("every target is rate-limited"),
    }
}
