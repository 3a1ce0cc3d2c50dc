"""Figure 2 and Figure 3 of the paper, filled with the numbers of one photo at one layer."""
