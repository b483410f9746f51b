"""What people look at: pure folds from events to views, and their readers. Deletable and rebuildable at any moment."""
