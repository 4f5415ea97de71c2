"""Tables, figures and the page a reader sees; imports none of the training code."""
