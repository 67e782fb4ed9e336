//! Steering vectors that learn, where the model stays as it is: for texts of a kind (`llmzip steer train`)
//! and for one text (`--steer-fit`).

mod fitted;
mod objective;
mod pieces;
mod prompt;
mod quantize;

pub use fitted::{Fit, FitOptions, SteeringPrior, fit};
pub use objective::SteeringObjective;
pub use pieces::{Piece, pieces};
pub use prompt::{Prompt, PromptOptions, PromptReport, train_prompt};
