//! Sets up tracing: text or JSON lines.
