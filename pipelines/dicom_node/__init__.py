"""A DICOM node: series that are sent to it are kept, predicted when complete, and answered, each once."""
