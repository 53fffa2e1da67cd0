"""The platform's services: who they are, what they may, and what operators decided about them."""
