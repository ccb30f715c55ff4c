"""Edge: scraping over HTTP, the exposition format, recordings, the schedule."""
