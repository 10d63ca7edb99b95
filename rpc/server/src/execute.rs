//! From a request body to its answer: jsonrpsee runs the calls, which ask in either dialect.
//!
//! jsonrpsee knows JSON-RPC 2.0 only, and only ids of some types; so each call is handed to it by
//! itself, with its dialect in the extensions. Results go past its serializer, in a slot that is
//! also there: they can be megabytes, and are JSON already.

use crate::{
    body::Chunks,
    gateway::{
        Caller,
        calls::{Asked, Desk},
    },
    limits,
};
use api::envelope::{Call, Incoming, Message, write_refusal};
use api::{Code, Dialect, RpcError, method::Method, params::Params};
use bytes::Bytes;
use jsonrpsee::{
    ConnectionId, Extensions, RpcModule,
    server::{MethodCallback, Methods},
    types::Id,
};
use std::sync::{Arc, Mutex, PoisonError};

/// What a method gives: a JSON object in the call's dialect.
pub(crate) type Outcome<T = Vec<u8>> = Result<T, RpcError>;

/// Where a method leaves its result.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Outcome<Bytes>>>>);

impl Slot {
    fn put(&self, outcome: Outcome<Bytes>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    fn take(&self) -> Option<Outcome<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Registers a method under its JSON-RPC name.
pub(crate) fn register<C, F, R, T>(module: &mut RpcModule<C>, name: &'static str, method: F)
where
    C: Send + Sync + 'static,
    F: Fn(Arc<C>, Params) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = Outcome<T>> + Send,
    T: Into<Bytes> + Send,
{
    let run = move |params: jsonrpsee::types::Params<'static>, context, extensions: Extensions| async move {
        let dialect = extensions.get::<Dialect>().copied().unwrap_or(Dialect::JsonRpc);
        let outcome = match Params::parse(params.as_str(), dialect) {
            Ok(params) => method(context, params).await.map(Into::into),
            Err(error) => Err(error),
        };
        if let Some(slot) = extensions.get::<Slot>() {
            slot.put(outcome);
        }
    };
    module.register_async_method(name, run).expect("each method is registered once");
}

/// Runs everything in a body for who sent it; `None` if nobody waits for an answer.
pub(crate) async fn run(
    methods: &Methods,
    desk: &Desk,
    message: &Message<'_>,
    caller: &Caller,
) -> Option<Chunks> {
    let run = Run { methods, desk, caller };
    match message {
        Message::Single(Incoming::Refused(error)) => Some(refusal(error)),
        Message::Single(Incoming::Call(call)) => {
            let outcome = run.call(call).await;
            (!call.is_notification()).then(|| single(call, outcome))
        }
        Message::Batch(calls) => run.batch(calls).await,
    }
}

/// What the calls of one body run with.
struct Run<'a> {
    methods: &'a Methods,
    desk: &'a Desk,
    caller: &'a Caller,
}

impl Run<'_> {
    async fn batch(&self, calls: &[Incoming<'_>]) -> Option<Chunks> {
        let mut answers = Vec::new();
        for incoming in calls {
            let separator = if answers.is_empty() { b'[' } else { b',' };
            match incoming {
                Incoming::Refused(error) => {
                    answers.push(separator);
                    write_refusal(&mut answers, error);
                }
                Incoming::Call(call) => {
                    let outcome = match answers.len() > limits::ANSWER_BYTES {
                        true => Err(RpcError::invalid("the answers before are too large together")),
                        false => self.call(call).await,
                    };
                    if call.is_notification() {
                        continue;
                    }
                    answers.push(separator);
                    match outcome {
                        Ok(result) => call.write_success(&mut answers, &result),
                        Err(error) => call.write_failure(&mut answers, &error),
                    }
                }
            }
        }
        (!answers.is_empty()).then(|| Chunks::of([answers.into(), Bytes::from_static(b"]")]))
    }

    async fn call(&self, call: &Call<'_>) -> Outcome<Bytes> {
        let method = call.method.ok_or(Code::MethodNotFound)?;
        if call.is_notification() && !method.side_effects {
            return Ok(Bytes::new());
        }
        let asked = Asked {
            caller: self.caller,
            method: method.name,
            access: method.access,
            dialect: call.dialect,
            params: call.params(),
        };
        let told = |result: &Bytes| match method.name {
            "torrent_add" => hash_of_added(result),
            _ => String::new(),
        };
        self.desk.run(asked, run_method(self.methods, call, method), told).await
    }
}

/// The info-hash in an answer of torrent_add, for the audit line.
fn hash_of_added(result: &[u8]) -> String {
    let result: serde_json::Value = serde_json::from_slice(result).unwrap_or_default();
    let torrent = result.as_object().and_then(|result| result.values().next());
    let hash = |name| torrent.and_then(|torrent| torrent.get(name)?.as_str());
    hash("hash_string").or_else(|| hash("hashString")).unwrap_or_default().to_owned()
}

fn refusal(error: &RpcError) -> Chunks {
    let mut answer = Vec::new();
    write_refusal(&mut answer, error);
    Bytes::from(answer).into()
}

fn single(call: &Call<'_>, outcome: Outcome<Bytes>) -> Chunks {
    match outcome {
        Ok(result) => {
            let (before, after) = call.success_frame();
            Chunks::of([before.into(), result, after.into()])
        }
        Err(error) => {
            let mut answer = Vec::new();
            call.write_failure(&mut answer, &error);
            Bytes::from(answer).into()
        }
    }
}

async fn run_method(methods: &Methods, call: &Call<'_>, method: &Method) -> Outcome<Bytes> {
    call.check_params()?;
    let slot = Slot::default();
    let mut extensions = Extensions::new();
    extensions.insert(call.dialect);
    extensions.insert(slot.clone());
    let params = jsonrpsee::types::Params::new(call.params());
    let (id, connection) = (Id::Number(0), ConnectionId(0));
    match methods.method(method.name) {
        Some(MethodCallback::Async(run)) => {
            run(id, params.into_owned(), connection, usize::MAX, extensions).await;
        }
        Some(MethodCallback::Sync(run)) => {
            run(id, params, usize::MAX, extensions);
        }
        _ => return Err(Code::MethodNotFound.into()),
    }
    slot.take().unwrap_or_else(|| Err(Code::Internal.into()))
}
