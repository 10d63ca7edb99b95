//! The queue_move_* methods.

use super::{Control, nothing};
use crate::execute::Outcome;
use api::params::Params;
use engine::QueueMove;
use std::sync::Arc;

pub(super) async fn top(control: Arc<Control>, params: Params) -> Outcome {
    shift(&control, &params, QueueMove::Top)
}

pub(super) async fn up(control: Arc<Control>, params: Params) -> Outcome {
    shift(&control, &params, QueueMove::Up)
}

pub(super) async fn down(control: Arc<Control>, params: Params) -> Outcome {
    shift(&control, &params, QueueMove::Down)
}

pub(super) async fn bottom(control: Arc<Control>, params: Params) -> Outcome {
    shift(&control, &params, QueueMove::Bottom)
}

fn shift(control: &Control, params: &Params, to: QueueMove) -> Outcome {
    control.session.move_in_queue(&control.selected(params), to);
    nothing()
}
