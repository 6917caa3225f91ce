"""What runs inside MONAI Label's server, and in its environment alone: the app, its models and its trainings."""
