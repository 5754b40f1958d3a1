"""Sets of chest radiographs, read from the folders in which their owners publish them."""
