"""The Sticker Shop: made once and shipped (content, planted tastes, simulated shoppers)."""
