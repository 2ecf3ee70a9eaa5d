"""The paper's encoder-decoder network and its parts."""
