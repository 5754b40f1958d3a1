"""What datasets that people keep as files share: tables, splits, images, prepared cases. A library, not a plugin."""
