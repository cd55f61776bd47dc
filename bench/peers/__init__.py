"""What is given to those beside whom an audit is measured."""
