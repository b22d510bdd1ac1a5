"""An example: answers of a simulated language model, with every primitive for AI work in one pipeline."""

from glidemq.examples.llm_pipeline.processors import app

__all__ = ["app"]
