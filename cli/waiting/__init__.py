"""How `gatepost queue` shows what waits: as tables, as a document, and as a screen that goes on."""
