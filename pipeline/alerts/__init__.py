"""What is not as it should be: rules over what was measured, when each fires and is over, and who hears of it."""
