"""A second detector, independent of the first: SSDLite MobileNet v2 in TensorFlow.js, in a Node.js process."""
