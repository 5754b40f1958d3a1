"""Sets of CT and MR volumes: VerSe, SPIDER, BraTS, ADNI, and any folder of volumes with a table."""
