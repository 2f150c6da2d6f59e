//! A mark for answers that hold a secret.

/// Put on a response's extensions: its body is not kept for an `Idempotency-Key`, because it holds a secret
/// that is shown once. A repeated request is told `outcome-unknown`.
#[derive(Debug, Clone, Copy)]
pub struct NoStore;
