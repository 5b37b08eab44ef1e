"""What several test files share: fake engines and servers, boards, runs, tiny models."""
