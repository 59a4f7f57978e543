"""The methods of `mt-factor`, a module a family; what they share is in `fitting`."""
