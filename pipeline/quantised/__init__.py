"""The cascade in integers: quantisation-aware training, the integer model, and the back ends made from it."""
