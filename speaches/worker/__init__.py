"""The Runpod side. It knows the server only by HTTP and imports neither FastAPI nor a model library."""
