"""Looking at a message before it goes anywhere: engines find, policy judges."""
