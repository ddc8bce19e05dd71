"""What is traded on: recorded, generated or relayed, and what is made of it for the public."""
