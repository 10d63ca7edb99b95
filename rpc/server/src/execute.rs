//! From a request body to its answer: jsonrpsee runs the calls, which ask in either dialect.
//!
//! jsonrpsee knows JSON-RPC 2.0 only, and only ids of some types; so each call is handed to it by
//! itself, with its dialect in the extensions. Results go past its serializer, in a slot that is
//! also there: they can be megabytes, and are JSON already.

use crate::{
    body::Chunks,
    gateway::{Caller, calls},
};
use api::envelope::{Call, Incoming, Message, parse, write_refusal};
use api::{Access, Code, Dialect, RpcError, method::Method, params::Params};
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
pub(crate) async fn run(methods: &Methods, body: &[u8], caller: &Caller) -> Option<Chunks> {
    match parse(body) {
        Message::Single(Incoming::Refused(error)) => Some(refusal(&error)),
        Message::Single(Incoming::Call(call)) => {
            let outcome = run_call(methods, &call, caller).await;
            (!call.is_notification()).then(|| single(&call, outcome))
        }
        Message::Batch(calls) => run_batch(methods, &calls, caller).await,
    }
}

async fn run_batch(methods: &Methods, calls: &[Incoming<'_>], caller: &Caller) -> Option<Chunks> {
    let mut answers = Vec::new();
    for incoming in calls {
        let separator = if answers.is_empty() { b'[' } else { b',' };
        match incoming {
            Incoming::Refused(error) => {
                answers.push(separator);
                write_refusal(&mut answers, error);
            }
            Incoming::Call(call) => {
                let outcome = run_call(methods, call, caller).await;
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

/// Runs a call if it may be, and tells the audit log.
async fn run_call(methods: &Methods, call: &Call<'_>, caller: &Caller) -> Outcome<Bytes> {
    let method = call.method.ok_or(Code::MethodNotFound)?;
    if call.is_notification() && !method.side_effects {
        return Ok(Bytes::new());
    }
    let outcome = match caller.check_method(method.name, method.access) {
        Ok(()) => run_method(methods, call, method).await,
        Err(refusal) => Err(refusal),
    };
    if method.access != Access::Reads {
        let ended = outcome.as_ref().map(drop);
        calls::audit(caller, method.name, method.access, &calls::about(call.params()), ended);
    }
    outcome
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
