//! What people do with a coordinator from outside a node: ask, wait, and take a fee back; register models; own a node and its
//! seats; see and collect what it earns. Values in, results and errors out; nothing here reads flags or prints.

mod account;
mod ask;
mod calibrate;
mod certify;
mod earnings;
mod examples;
mod input;
mod models;
mod new_model;
mod pay;
mod random;
mod redeliver;
mod refund;
mod revoke;
mod seat;
mod seats;
mod spread;
mod trial;
mod wait;

pub use account::{Account, AccountError, Client};
pub use ask::{Asked, RequestError, RequestTerms, ask, resolve_model};
pub use calibrate::{
    CalibrateError, Calibration, Distribution, GuardAnswer, MAX_SEAT_SHARE, NoRule, OutputCalibration, calibrate,
};
pub use certify::{Certificate, CertifyError, Refusal, SMALL_RUN, Spread, certify, shown_share};
pub use earnings::{DailyEarnings, daily_earnings};
pub use examples::{ExampleError, Origin};
pub use input::{InputError, JsonInput, Ports, input_from_arrays, input_from_json, input_from_text};
pub use models::{ModelRegistration, Naming, RegisterError, register_model};
pub use new_model::{ModelLane, ModelRecipe, NewModelError, new_model};
pub use pay::{Unpaid, UnpaidAnswer, balance_of, claim_pay, withdraw};
pub use redeliver::{Redelivery, redeliver};
pub use refund::{Refund, refund};
pub use revoke::{Revocation, revoke_key};
pub use seat::{ActivationWait, Seat, SeatState, activate_seat, release_seat};
pub use seats::{JoinedSeat, OwnedSeats, SeatError, register_node, registered_uri, signing_key};
pub use trial::{TrialRequest, Tried};
pub use wait::{Answered, wait_for_answer};
