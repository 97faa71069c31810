"""`hokusai-auth dlq`: what was not counted or not followed, and what is done about it."""
