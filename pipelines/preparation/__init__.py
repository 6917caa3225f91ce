"""Raw folders to prepared ones, whatever the task: checks, splits by patient, datalists, reports. Imports no torch."""
