"""What is passed on: a champion as one folder, as ONNX, and sent to the Hub."""
