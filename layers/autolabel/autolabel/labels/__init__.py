"""What a label is: detections, classes, boxes of a manifest, agreement and reviews."""
