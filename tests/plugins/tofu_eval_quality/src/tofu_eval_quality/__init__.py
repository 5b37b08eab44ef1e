"""What a third party would write to say how good a response is."""
