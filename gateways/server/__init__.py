"""What stands between uvicorn and our consumers."""
