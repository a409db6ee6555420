"""Write a report on a model: one HTML file with sections and plots."""
