//! The use cases. Each takes the context and the actor, and asks for permission before it acts.
