"""invox: received and issued invoices, and electronic-book storage. Documentation version 1.0.3."""
