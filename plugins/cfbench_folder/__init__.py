"""Any folder of images, with or without a table: most people need no plugin of their own."""
