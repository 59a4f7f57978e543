"""Composable commands that tag music by transfer learning and multitask learning."""
