"""What tests share: real servers, waiting, scripted peers."""
