"""A second detector that shares nothing with the first: SSDLite MobileNet v2 in TensorFlow.js, in a Node.js process."""
