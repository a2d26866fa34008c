"""How a drive comes in: listing, closing, late frames and the sweep."""
