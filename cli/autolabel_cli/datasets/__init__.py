"""Taking datasets: published runs in the formats that training code reads."""
