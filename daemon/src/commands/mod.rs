//! Commands: the catalogue, the model's calls, and carrying them out.
//!
//! An operator writes a catalogue ([`Catalogue`]). The model reads it as declarations of tools, and a grammar holds its
//! answer to them. The answer is read strictly and checked against the catalogue once more ([`Outcome`]). So only
//! declared commands are carried out, whatever was said, and whatever the model makes of it.
//!
//! | file | owns |
//! |---|---|
//! | `handle` | the handle of commands |
//! | `catalogue` | which commands may be asked for, and which arguments fit |
//! | `written` | the files, their keys and their errors |
//! | `folder` | all files of a machine, as one catalogue |
//! | `check` | mistakes of a catalogue that the keys do not show |
//! | `error` | why a catalogue or a command was refused |
//! | `unfit` | why an answer of the model is not valid |
//! | `parameter` | types of parameters, and which values fit them |
//! | `plain` | names and texts that can hold no protocol |
//! | `declaration` | a command as the chat template declares it |
//! | `grammar` | the grammar of the model's answer |
//! | `call` | calls as the model writes them |
//! | `outcome` | what an answer of the model means |
//! | `force` | the catalogue in force, as the model gets it |
//! | `consent` | yes or no to a command that waits |
//! | `reading`, `event` | the outcome of an utterance, and the events of commands |
//! | `dialogue` | an utterance or a request, from the model's first answer to the reply |
//! | `timers` | timers and alarms, and when they ring |
//! | `action` | what runs for a command besides its signal |
//! | `trust` | whether only root and the daemon's user can write a file |
//! | `invocation` | a command that was asked for, its origin and its status |
//! | `arrival` | when a request or an utterance arrived |
//! | `told` | the outcome of a command, in words |
//! | `talk` | what actions can do with the conversation itself |
//! | `ledger` | which commands begin, which wait to be confirmed, and what a halt cancels |
//! | `executor` | carries out what the ledger decides |

mod action;
mod arrival;
mod call;
mod catalogue;
mod check;
mod consent;
mod declaration;
mod dialogue;
mod error;
mod event;
mod evidence;
mod executor;
mod folder;
mod force;
mod grammar;
mod handle;
mod invocation;
mod ledger;
mod outcome;
mod parameter;
mod plain;
mod reading;
mod talk;
pub mod timers;
mod told;
mod trust;
mod unfit;
mod written;

pub use action::Action;
pub use arrival::{Arrival, Epoch};
pub use call::{Arguments, Call, Malformed, may_be_call};
pub use catalogue::{Catalogue, Caution, Command, Example, Role};
pub use dialogue::Dialogue;
pub use error::{CatalogueError, CommandError};
pub use event::Event;
pub use evidence::{Evidence, Precaution, Readings, Verdict};
pub use force::{Force, Scope};
pub use handle::Commands;
pub use invocation::{Invocation, Origin, Status};
pub use outcome::Outcome;
pub use parameter::{Kind, Need, Parameter};
pub use plain::{Name, Plain};
pub use reading::Reading;
pub use talk::Talk;
pub use told::Told;
pub use unfit::Unfit;
pub use written::Source;
